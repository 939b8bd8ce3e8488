# `meta-text serve` on port 8000, for the classifiers in /classifiers (docs/serve.md):
#   docker build -t meta_text .
#   docker run -p 8000:8000 -e META_TEXT_API_KEY -v meta_text:/classifiers --stop-timeout 60 meta_text
# To leave CUDA out, pass the index that PyTorch has for processors alone: --build-arg PIP_EXTRA_INDEX_URL=...
FROM python:3.11-slim AS build
ARG PIP_EXTRA_INDEX_URL
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY meta_text meta_text
COPY recipes recipes
COPY data data
RUN python -m venv /opt/meta_text \
    && /opt/meta_text/bin/pip install --no-cache-dir ".[serve]" -c constraints.txt

FROM python:3.11-slim
COPY --from=build /opt/meta_text /opt/meta_text
RUN useradd --system --uid 10001 --create-home meta_text && install -d -o meta_text /classifiers
USER meta_text
ENV PATH=/opt/meta_text/bin:$PATH PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
VOLUME /classifiers
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["meta-text", "serve", "/classifiers", "--host", "0.0.0.0"]
