"""A saved model in other forms than Keras: LiteRT, ONNX and SavedModel."""
