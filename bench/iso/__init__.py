"""How must work grow with the number of workers, so that efficiency stays? The parts of that experiment."""
