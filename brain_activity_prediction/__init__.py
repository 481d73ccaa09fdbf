"""How well do the hidden states of vision-language models predict the human brain?"""

__version__ = "0.1.0"
