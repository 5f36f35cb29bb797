"""MindSpore's runtime on this machine: its device, its cache of kernels, how fast it multiplies."""
