"""Arrays in, arrays out: what scores are worth, without NSD, files or flags."""
