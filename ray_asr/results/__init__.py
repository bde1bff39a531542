"""The results wing: reads finished runs; knows neither Ray nor the engine."""
