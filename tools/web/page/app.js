// Shows which gateway the API names.
const nodes = (await (await fetch("/v1/locate")).json()).items;
document.getElementById("gateway").textContent = nodes.length > 0 ? nodes[0].ws : "not ready";
