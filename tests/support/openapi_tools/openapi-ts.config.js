export default {
  input: "openapi.json",
  // Node.js resolves imports by their whole names.
  output: { path: "openapi-ts", importFileExtension: ".js" },
  plugins: ["@hey-api/client-fetch", "@hey-api/typescript", "@hey-api/sdk"],
};
