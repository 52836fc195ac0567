"""The OpenAPI 3.1 document, made from the endpoint table and the types of bodies, queries and answers."""
