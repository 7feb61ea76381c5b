"""Images and labels: mirrors, IDX files, splits, batches, image files. Nothing about networks."""
