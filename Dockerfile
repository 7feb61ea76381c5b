# A server of the model in this folder: after `make repro`,
#     docker build -t digits . && docker run -p 8000:8000 digits
FROM python:3.11-slim

ENV PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement requirements.txt \
    && useradd --no-create-home --uid 1000 digits
COPY pipeline pipeline
COPY conf conf
COPY models/model.keras models/
COPY exports exports

USER 1000
EXPOSE 8000
HEALTHCHECK CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health')"]
CMD ["python", "-m", "pipeline.serve", "--host", "0.0.0.0"]
