"""What ``d2m doctor`` looks at: each file a group of checks, each check on its own."""
