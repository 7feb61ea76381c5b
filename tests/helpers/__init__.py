"""What several test files share. The tests are in `unit` and `system`."""
