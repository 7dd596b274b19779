"""Output for people: lines, progress bars, tables, plots and HTML; computes nothing."""
