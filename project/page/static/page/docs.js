// Swagger UI on our own schema. Who is logged in at / can execute every operation as it stands: the session cookie goes
// along, and here the CSRF header is added. Programs' keys are entered without the word Token, which is added as well.

import { csrfToken } from "./api.js";

const root = document.getElementById("swagger-ui");
const SAFE = ["GET", "HEAD", "OPTIONS", undefined];

SwaggerUIBundle({
  url: root.dataset.schema,
  domNode: root,
  deepLinking: true,
  displayRequestDuration: true,
  presets: [SwaggerUIBundle.presets.apis],
  requestInterceptor(request) {
    const key = request.headers.Authorization;
    if (key && !/^(Token|Basic) /.test(key)) request.headers.Authorization = `Token ${key}`;
    if (!SAFE.includes(request.method)) request.headers["X-CSRFToken"] ??= csrfToken();
    return request;
  },
});
