"""What others would write for the same job, to be measured beside the product. They import nothing of it."""
