"""Images and labels: mirrors, folders, IDX files, splits, batches. Nothing about networks."""
