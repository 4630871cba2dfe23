extension Fence {
  /// All fences of the library, by file and line.
  static let all = [
    Fence(
      "Netmap/ExtraBufferPool.swift", .releasing, .stores,
      after: "_ = unsafe list.take()",
      before:
        "unsafe ring.place(slot).store(SlotWord(bufferIndex: spare, length: 0, flags: .bufferChanged))"
    ),
    Fence(
      "Netmap/ExtraBufferPool.swift", .releasing, .stores,
      after: "unsafe ring.place(slot).store(word)",
      before: "give(former, entry)"),
    Fence(
      "NetmapCore/Engine/Check/LeaseCheck.swift", .sequentiallyConsistent, .loads,
      after: "guard !waiting.isEmpty else { return [] }",
      before: "for segment in senders {"),
    Fence(
      "NetmapCore/Engine/Check/LeaseCheck.swift", .sequentiallyConsistent, .loads,
      after: "}",
      before: "return waiting.compactMap { ring in"),
    Fence(
      "NetmapCore/SyncLoop/SyncLoop.swift", .sequentiallyConsistent, .storeThenLoad,
      after: "result.isUnsure = !port.arm([.transmit, .receive], as: sleeper)",
      before: "}"),
    Fence(
      "NetmapCore/Shared/BufferExchange.swift", .releasing, .stores,
      after: "Offset.pair, UInt64(UInt32(truncatingIfNeeded: number)) | UInt64(free) << 32)",
      before: "unsafe target.store(packet)"),
    Fence(
      "NetmapCore/Shared/BufferExchange.swift", .releasing, .stores,
      after: "unsafe target.store(packet)",
      before: "unsafe source.store("),
    Fence(
      "NetmapCore/Shared/MonitorNote.swift", .releasing, .stores,
      after: "unsafe store(Offset.pair, UInt64(number) | UInt64(free.buffer) << 32)",
      before: "unsafe target.store(packet)"),
    Fence(
      "NetmapCore/Shared/MonitorNote.swift", .releasing, .stores,
      after: "unsafe target.store(packet)",
      before: "unsafe source.store(free)"),
    Fence(
      "NetmapCore/Shared/ControlBlock.swift", .sequentiallyConsistent, .storeThenLoad,
      after: "unsafe needsKick.pointee.store(1, ordering: .relaxed)",
      before: "}"),
    Fence(
      "NetmapCore/Shared/ControlBlock.swift", .sequentiallyConsistent, .storeThenLoad,
      after: "func wantsSignal() -> Bool {",
      before:
        "return unsafe asked(NM_CSB_ATOK_APPL_NEED_KICK_OFFSET).pointee.load(ordering: .relaxed) != 0"
    ),
    Fence(
      "NetmapCore/Shared/Directory.swift", .acquiring, .versionedRead,
      after: "bindings: Int(bindings), generation: before)",
      before: "if unsafe generation(index).pointee.load(ordering: .relaxed) == before {"),
    Fence(
      "NetmapCore/Shared/Directory.swift", .sequentiallyConsistent, .versionedWrite,
      after: "unsafe generation(index).pointee.store(odd, ordering: .relaxed)",
      before: "memory.store(port.region.id, at: base + 4)"),
    Fence(
      "NetmapCore/Shared/KeptTable.swift", .releasing, .stores,
      after: "unsafe firstPage.pointee.store(page, ordering: .releasing)",
      before: "return unsafe list.take()"),
    Fence(
      "NetmapCore/Shared/KeptTable.swift", .releasing, .stores,
      after: "unsafe store(UInt32(truncatingIfNeeded: distance), Word.distance, of: page)",
      before: "}"),
    Fence(
      "NetmapCore/Shared/KeptTable.swift", .releasing, .stores,
      after: "package func end(page: UInt32) {",
      before: "unsafe store(0, Word.distance, of: page)"),
    Fence(
      "NetmapCore/Shared/Lease.swift", .releasing, .stores,
      after: "unsafe withdrawIntent()",
      before: "guard stores > 1 else { return }"),
    Fence(
      "NetmapCore/Sleeping/Sleeper.swift", .sequentiallyConsistent, .storeThenLoad,
      after:
        "for item in items where !item.port.arm(item.wanted, as: announcement) { sure = false }",
      before: "ready = scan(&items, &sure)"),
    Fence(
      "NetmapCore/Switch/Control/LeaseRepair.swift", .sequentiallyConsistent, .loads,
      after: "}",
      before: "var finished = 0"),
    Fence(
      "NetmapCore/Switch/Data/Backpressure.swift", .sequentiallyConsistent, .storeThenLoad,
      after: "unsafe kring.addHeldSender(Int(port))",
      before: "}"),
    Fence(
      "NetmapCore/Switch/Data/BackpressureWake.swift", .sequentiallyConsistent, .storeThenLoad,
      after: "func wakeHeldSenders(_ path: UnsafePointer<SwitchPath>) {",
      before: "for part in 0..<SwitchLayout.activeWords {"),
    Fence(
      "NetmapCore/Switch/Data/SyncEpochs.swift", .sequentiallyConsistent, .storeThenLoad,
      after: "init(_ ports: some Sequence<SyncEpochs>) {",
      before: "for epochs in ports {"),
    Fence(
      "NetmapCore/Switch/Modules/Hosting/HostReport.swift", .releasing, .versionedWrite,
      after: "unsafe area.store(HostReportLayout.sequence, odd)",
      before: "unsafe area.store(HostReportLayout.length, UInt32(bytes.count))"),
    Fence(
      "NetmapCore/Switch/Modules/Hosting/HostReport.swift", .acquiring, .versionedRead,
      after: "at: HostReportLayout.text, count: min(length, HostReportLayout.textLengthMax))",
      before: "if unsafe area.load(HostReportLayout.sequence) == before {"),
    Fence(
      "NetmapLinux/Shared/PacketCursors.swift", .releasing, .stores,
      after: "unsafe word(Offset.turn).pointee.store(next, ordering: .releasing)",
      before: "}"),
    Fence(
      "NetmapLinux/Shared/PacketCursors.swift", .acquiringAndReleasing, .stores,
      after: "unsafe word(Offset.underWay).pointee.store(1, ordering: .relaxed)",
      before: "}"),
    Fence(
      "NetmapLinux/Shared/PacketCursors.swift", .acquiringAndReleasing, .stores,
      after: "unsafe word.pointee.store(key | UInt64(value), ordering: .relaxed)",
      before: "return value"),
    Fence(
      "NetmapLinux/Shared/PacketCursors.swift", .releasing, .stores,
      after: "unsafe word(0).pointee.store(place.word, ordering: .releasing)",
      before: "}"),
    Fence(
      "NetmapLinux/Shared/PacketFrame.swift", .releasing, .stores,
      after: "unsafe (data + field).storeBytes(of: checksum, as: UInt16.self)",
      before: "unsafe offload.storeBytes(of: 0, toByteOffset: CLINUX_OFFLOAD_FLAGS, as: UInt8.self)"
    ),
    Fence(
      "NetmapLinux/Shared/XDPPairLayout.swift", .acquiringAndReleasing, .stores,
      after: "unsafe word(Offset.underWay).pointee.store(1, ordering: .relaxed)",
      before: "}"),
    Fence(
      "NetmapLinux/Shared/XDPPairLayout.swift", .acquiringAndReleasing, .stores,
      after: "UInt64(value.otherBuffer) << 32 | UInt64(value.buffer), ordering: .releasing)",
      before: "} else {"),
    Fence(
      "NetmapLinux/Shared/XDPPairLayout.swift", .acquiringAndReleasing, .stores,
      after: "unsafe word(Offset.underWay).pointee.store(2, ordering: .releasing)",
      before: "}"),
    Fence(
      "NetmapLinux/XDP/ShortCutReceive.swift", .releasing, .stores,
      after: "let wakes = unsafe cell != returned && lane.publish(returned: cell)",
      before: "unsafe port.kring.store(hwcur: head)"),
    Fence(
      "NetmapLinux/XDP/XDPReceive.swift", .releasing, .stores,
      after: "if position != start { unsafe fill.publish(upTo: position) }",
      before: "unsafe port.kring.store(hwcur: head)"),
    Fence(
      "NetmapLinux/XDP/XDPReceive.swift", .releasing, .stores,
      after: "unsafe frames.release(upTo: position)",
      before: "unsafe kring.store(hwtail: slot)"),
    Fence(
      "NetmapLinux/XDP/XDPTransmit.swift", .releasing, .stores,
      after: "unsafe frames.publish(upTo: position)",
      before: "unsafe kring.store(hwcur: next)"),
    Fence(
      "NetmapCore/Shared/KRingWords.swift", .sequentiallyConsistent, .storeThenLoad,
      after: "_ = unsafe rawAtomicWord(KRingLayout.position).pointee.exchange(",
      exchange: "position, ordering: .sequentiallyConsistent)",
      before: "unsafe setRawWord(KRingLayout.published, position)"),
  ]
}
