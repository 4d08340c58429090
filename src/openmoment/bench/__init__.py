"""Many methods, laid side by side: suites of runs, their records, and what is told of them."""
