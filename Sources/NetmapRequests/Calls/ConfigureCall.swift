/// `NIOCCONFIG`: a message to the module of a switch, `struct nm_ifreq`.
package struct ConfigureCall: Sendable {
  /// `nifr_name`: the switch, with its colon. At most 16 bytes.
  package let name: RequestName
  /// `data`, which only the module interprets. What the server leaves here returns to the program, also with a
  /// refusal.
  package var data: ByteBlock<256>
}
