"""Tables, figures and the page over everything that a BASE_DIR holds."""
