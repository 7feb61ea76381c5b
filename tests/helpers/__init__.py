"""What several test files share. Tests themselves are in `unit` and `system`."""
