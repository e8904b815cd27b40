/** Show the description of the API; nothing is asked of another origin. */
SwaggerUIBundle({ url: "openapi.json", dom_id: "#api", validatorUrl: null, deepLinking: true });
