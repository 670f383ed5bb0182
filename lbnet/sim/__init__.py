"""Driver 2: the same controller and workers in virtual time, on a modelled network, with modelled slots."""
