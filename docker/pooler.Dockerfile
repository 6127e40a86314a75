# The pooler, with the drivers that are proven: PostgreSQL, SQLite, MariaDB. Built from the repository's root:
#   docker build --file docker/pooler.Dockerfile --tag penstock-pooler .
FROM python:3.11-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY frontend frontend
COPY pooler pooler
COPY protos protos
RUN python -m venv /opt/penstock \
 && /opt/penstock/bin/pip install --no-cache-dir --constraint constraints.txt '.[pooler,postgres,sqlalchemy,mariadb]'

FROM python:3.11-slim
RUN useradd --system --uid 10001 --create-home --home-dir /var/lib/penstock penstock
COPY --from=build /opt/penstock /opt/penstock
ENV PATH=/opt/penstock/bin:$PATH PYTHONUNBUFFERED=1
# state_dir is relative to here; one pooler, one volume.
WORKDIR /var/lib/penstock
USER 10001
EXPOSE 7433 7434
# Answers while every pool is saturated; says nothing about the backends, which are no reason to restart a pooler.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s CMD ["penstock", "pools", "--json"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["penstock"]
CMD ["pooler", "--config", "/etc/penstock/penstock.yaml"]
