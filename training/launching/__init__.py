"""Jobs by hand: the requests of the scheduled steps, made with the sagemaker SDK."""
