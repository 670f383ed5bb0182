"""What is true: controller, worker and ledger as state machines that take events and return effects. Pure."""
