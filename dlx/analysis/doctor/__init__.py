"""What is wrong with a spec before it is trained: `dlx doctor`."""
