"""Pictures that people take or draw: read a file, and bring its digit to the form of MNIST."""
