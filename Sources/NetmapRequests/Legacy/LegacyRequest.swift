internal import CNetmap

/// A legacy request, as the program passed it: `struct nmreq`.
struct LegacyRequest: Sendable {
  typealias Layout = RequestLayout.Legacy

  var block = ByteBlock<60>()

  /// `nr_version`. Newer versions than ours are accepted, older ones are not.
  var hasKnownVersion: Bool {
    block.load(Layout.version, as: UInt32.self) >= UInt32(NETMAP_MIN_API)
  }

  /// `nr_name`, up to its first NUL.
  var name: RequestName { RequestName(block.bytes, at: Layout.name, limit: Layout.nameByteCount) }

  /// `nr_cmd`: `NETMAP_BDG_*` and relatives; 0 binds the descriptor.
  var command: Int32 { Int32(block.load(Layout.command, as: UInt16.self)) }

  /// `nr_ringid`: a ring number, and bits.
  var ringID: Int32 { Int32(block.load(Layout.ringID, as: UInt16.self)) }

  /// `nr_flags`: a mode in the low four bits, and flags.
  var flags: UInt32 { block.load(Layout.flags) }

  var argument1: UInt16 { block.load(Layout.argument1) }
  /// `nr_arg2`: the number of the region in most requests.
  var argument2: UInt16 { block.load(Layout.argument2) }
  /// `nr_arg3`: the number of extra buffers.
  var argument3: UInt32 { block.load(Layout.argument3) }
  var memorySize: UInt32 { block.load(Layout.memorySize) }
  var counts: RingCounts { RingCounts(block, Layout.counts) }

  /// Makes the last byte of `nr_name` a NUL.
  mutating func terminateName() {
    block[Layout.name + Layout.nameByteCount - 1] = 0
  }
}

/// A control request that stands for a legacy request.
struct TranslatedRequest: Sendable {
  /// Nil if netmap has no such request.
  var type: RequestType?
  var header = RequestHeader()
  var body = RequestBody()
}

extension RequestLayer {
  /// Serves a legacy request: translates it, serves the translation, and translates the answer.
  ///
  /// - Parameters:
  ///   - argument: The address of the program's `struct nmreq`.
  ///   - command: `NIOCREGIF` or `NIOCGINFO`.
  /// - Throws: ``RequestErrno``: `EINVAL` for an old version or an unknown `nr_cmd`, `ENOMEM` for an `nr_cmd` that
  ///   never worked, what the server refuses the request with, and what ``exchange(_:_:)`` throws.
  func legacy(
    _ argument: UInt64, _ command: IoctlCommand
  ) throws(RequestErrno) {
    try exchange(argument) { (block: inout ByteBlock<60>) throws(RequestErrno) in
      var request = LegacyRequest(block: block)
      defer { block = request.block }
      guard request.hasKnownVersion else { throw .invalidArgument }
      request.terminateName()
      var translated =
        command == .legacyInfo ? request.translatedInfo() : try request.translatedRegister()
      var noOptions = OptionList()
      try serve(translated.type, &translated.header, &translated.body, &noOptions)
      request.store(answer: translated)
    }
  }
}
