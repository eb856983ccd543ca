/// Makes four images, then keeps the middle of the first and makes all around it anew, twice.
/// usage: generate [MODEL] [STEPS]     a bundle's folder or the name of an installed model
#include <iostream>
#include <string>
#include <tessera/tessera.hpp>

int main(int argc, char** argv) try {
  const tessera::Model model(argc > 1 ? argv[1] : "portraits");
  const auto options = tessera::Options().set("steps", argc > 2 ? std::stoi(argv[2]) : 16).set("seed", 3);
  const auto progress = [](const tessera::Step& step) {
    std::cerr << "\rstep " << step.step << " of " << step.steps << (step.step == step.steps ? "\n" : "");
    return true;  // false would stop it
  };

  const auto images = model.generate(tessera::Options(options).set("count", 4), progress);
  for (std::size_t i = 0; i < images.size(); ++i) {
    images[i].write("image-" + std::to_string(i) + ".png", images.record());
  }

  const auto first = images[0];
  const int width = first.width(), height = first.height();
  const auto middle = tessera::box_mask(width, height, {width / 4, height / 4, width / 2, height / 2});
  const auto kept = model.keep(first, middle, tessera::Options(options).set("count", 2), progress);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    kept[i].write("around-" + std::to_string(i) + ".png", kept.record());
  }
  std::cout << kept.record() << '\n';
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << '\n';
  return 1;
}
