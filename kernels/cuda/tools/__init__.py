"""What looks at kernels and is never part of one: debug launches, dry runs, occupancy, roofline, SASS."""
