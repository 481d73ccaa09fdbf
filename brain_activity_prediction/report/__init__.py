"""Make tables, figures and one HTML page about all scores in a BASE_DIR."""
