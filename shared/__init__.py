"""What every phase stands on: the trunk, artifacts, training, metrics, results and the report."""
