"""Makes the embedded model azr-tiny from nothing: programs, transcripts, tokenizer, supervised training."""
