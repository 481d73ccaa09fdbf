"""Tables, figures and one page about all scores in a BASE_DIR."""
