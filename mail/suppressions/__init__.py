"""Who gets no mail: files of suppressions, and the providers' own lists."""
