"""Answer pictures over HTTP: the server, its models, and its page to draw on."""
