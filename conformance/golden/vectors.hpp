// Reads the golden vectors that bn-conformance exported. C++17, little-endian machines, no dependencies.
#pragma once
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

// Where an array lies: byte offset in inputs.bin, or index of its first double in expected.bin and allowed.bin.
struct Place { std::size_t start = 0, count = 0; };

struct Vector {
    std::string name, op;                   // op: "train" or "infer"
    double epsilon = 0, decay = 0;          // decay: weight of the old moving value
    std::vector<std::size_t> shape, axis;   // of x (C order), and its channel axes, ascending
    std::map<std::string, Place> inputs, outputs;
};

inline std::string file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(in), {}};
}

inline std::vector<double> doubles(const std::string& path) {
    const std::string bytes = file(path);
    const auto* first = reinterpret_cast<const double*>(bytes.data());
    return {first, first + bytes.size() / sizeof(double)};
}

// What follows "key": on a line of vectors.json, of which each has one vector and the same order of keys.
inline const char* after(const std::string& line, const std::string& key) {
    const std::size_t at = line.find("\"" + key + "\": ");
    if (at == std::string::npos) throw std::runtime_error("no " + key + " in " + line);
    return line.c_str() + at + key.size() + 4;
}

inline std::string text(const char* p) { return std::string(p + 1, std::string(p + 1).find('"')); }

inline std::vector<std::size_t> numbers(const char* p) {
    std::vector<std::size_t> found;
    for (char* end = nullptr; *p != ']'; p = end)
        found.push_back(std::strtoull(*p == '[' || *p == ',' ? p + 1 : p, &end, 10));
    return found;
}

inline std::map<std::string, Place> places(const char* p) {
    std::map<std::string, Place> found;
    while (*p != '}') {
        const std::string key = text(p + (*p == '{' ? 1 : 2));
        p = std::string::traits_type::find(p, 4096, '[');
        const auto pair = numbers(p);
        found[key] = {pair[0], pair[1]};
        p = std::string::traits_type::find(p, 4096, ']') + 1;
    }
    return found;
}

inline std::vector<Vector> read_vectors(const std::string& folder) {
    std::ifstream in(folder + "/vectors.json");
    std::vector<Vector> found;
    for (std::string line; std::getline(in, line);)
        if (line.rfind("{\"name\"", 0) == 0)
            found.push_back({text(after(line, "name")), text(after(line, "op")), std::atof(after(line, "epsilon")),
                             std::atof(after(line, "decay")), numbers(after(line, "shape")),
                             numbers(after(line, "axis")), places(after(line, "inputs")),
                             places(after(line, "outputs"))});
    if (found.empty()) throw std::runtime_error("no vectors in " + folder);
    return found;
}
