"""How well do the hidden states of vision-language models predict the human brain?"""

__version__ = "1.0.0"
