"""Random faults on the real controller and workers, in a model of everything around them: nothing may be lost."""
