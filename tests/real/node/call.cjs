// Calls one operation with nothing but the .proto file and grpc-js; prints the result's bytes, or the error, as JSON.
// usage: node call.cjs PROTO_ROOT ADDRESS OPERATION ARGUMENTS TIMEOUT_MS
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [root, address, operation, args, timeout] = process.argv.slice(2);
const definition = loader.loadSync("protos/penstock/v1/pooler.proto", { includeDirs: [root], longs: Number });
const { PoolerService } = grpc.loadPackageDefinition(definition).penstock.v1;
const client = new PoolerService(address, grpc.credentials.createInsecure());
const request = {
  context: { timeoutMs: Number(timeout), requestId: "from-node" },
  operation,
  arguments: Buffer.from(args),
};
client.Call(request, (error, reply) => {
  const answer = error
    ? { code: error.code, details: error.details }
    : { kind: reply.kind, result: reply.result.toString("base64"), timing: reply.timing };
  process.stdout.write(JSON.stringify(answer));
  client.close();
});
