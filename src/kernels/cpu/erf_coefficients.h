/// erf(x) = x p(x^2) / q(x^2) within [-4, 4], off by a few units of the last place of float32: the coefficients that
/// Eigen's generic_fast_erf_float uses, the highest power first.
#pragma once

namespace tessera {

inline constexpr float kErfNumerator[] = {-2.72614225801306e-10F, 2.77068142495902e-08F,  -2.10102402082508e-06F,
                                          -5.69250639462346e-05F, -7.34990630326855e-04F, -2.95459980854025e-03F,
                                          -1.60960333262415e-02F};
inline constexpr float kErfDenominator[] = {-1.45660718464996e-05F, -2.13374055278905e-04F, -1.68282697438203e-03F,
                                            -7.37332916720468e-03F, -1.42647390514189e-02F};
inline constexpr float kErfRange = 4;

}  // namespace tessera
