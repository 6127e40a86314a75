# A frontend: no state, no driver, any number of them. Built from the repository's root:
#   docker build --file docker/frontend.Dockerfile --tag penstock-frontend .
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY frontend frontend
COPY pooler pooler
COPY protos protos
RUN python -m venv /opt/penstock \
 && /opt/penstock/bin/pip install --no-cache-dir --constraint constraints.txt '.[frontend]'

FROM python:3.11-slim
RUN useradd --system --uid 10001 --no-create-home penstock
COPY --from=build /opt/penstock /opt/penstock
ENV PATH=/opt/penstock/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8080
# It is well while it answers: without its pooler it lists from its last catalogue, and says so when called.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["penstock"]
CMD ["frontend", "--preload", "--config", "/etc/penstock/penstock.yaml"]
