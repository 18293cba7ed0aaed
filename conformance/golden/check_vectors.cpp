// Checks results against golden vectors: check_vectors FOLDER RESULTS [QUANTITY]...
// RESULTS holds doubles in the order of expected.bin; without quantities all are checked. Exits with 1 if any is wrong.
#include <cmath>
#include <cstdio>
#include <set>

#include "vectors.hpp"

int main(int argc, char** argv) try {
    if (argc < 3) throw std::runtime_error("usage: check_vectors FOLDER RESULTS [QUANTITY]...");
    const std::string folder = argv[1];
    const std::set<std::string> only(argv + 3, argv + argc);
    const auto expected = doubles(folder + "/expected.bin"), allowed = doubles(folder + "/allowed.bin");
    const auto got = doubles(argv[2]);
    if (got.size() != expected.size()) throw std::runtime_error("RESULTS does not have the size of expected.bin");
    std::size_t checked = 0, wrong = 0;
    for (const Vector& v : read_vectors(folder))
        for (const auto& [quantity, place] : v.outputs) {
            if (!only.empty() && !only.count(quantity)) continue;
            std::size_t bad = 0, worst = place.start;
            for (std::size_t i = place.start; i < place.start + place.count; ++i) {
                const double error = std::fabs(got[i] - expected[i]);
                const bool same = got[i] == expected[i] || (std::isnan(got[i]) && std::isnan(expected[i]));
                const bool right = same || error <= allowed[i] || std::isinf(allowed[i]);
                if (!right && !(bad++ && error <= std::fabs(got[worst] - expected[worst]))) worst = i;
            }
            ++checked;
            if (bad) std::printf("%s %s: %zu of %zu wrong, got %.9g, expected %.9g, allowed error %.3g\n", v.name.c_str(),
                                 quantity.c_str(), bad, place.count, got[worst], expected[worst], allowed[worst]);
            wrong += bad > 0;
        }
    std::printf("%zu of %zu arrays wrong\n", wrong, checked);
    return wrong || !checked;
} catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
}
