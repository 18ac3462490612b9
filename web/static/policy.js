// What a screen reader says of the slider.
const slider = document.getElementById("step"), budgets = slider.dataset.budgets.split(" ").map(Number);
slider.addEventListener("input", () => slider.setAttribute("aria-valuetext", `At most one in ${budgets[slider.value].toLocaleString("en")}`));
