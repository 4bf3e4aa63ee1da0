"""What fails, and for how long, where a part of a cluster is killed or frozen while it is asked."""
