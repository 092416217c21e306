"""One file per step, in order of their numbers. Ground truth has no way back: no downgrade."""
