"""What policies are made of: how weights begin, images, convolutions."""
