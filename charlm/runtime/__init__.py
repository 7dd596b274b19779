"""Where and how PyTorch computes: device, threads, memory, processes."""
