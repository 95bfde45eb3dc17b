// Swagger UI on our own schema. A user who is logged in at / can execute every operation at once: the browser sends the
// session cookie, and the CSRF header is added here. A program's key is entered without the word Token, which is added.

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
