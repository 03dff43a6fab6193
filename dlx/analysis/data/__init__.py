"""What a spec reads as its data, before training: `dlx data`."""
