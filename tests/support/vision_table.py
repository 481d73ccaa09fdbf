"""Vision networks that the tests run, and their tokens and outputs. The documentation shows these tables."""

# Class: learned tokens before and after the patches of the image.
PATCHES = {
    "Aimv2VisionModel": (0, 0),
    "AltCLIPVisionModel": (1, 0),
    "BeitModel": (1, 0),
    "Blip2VisionModel": (1, 0),
    "BlipVisionModel": (1, 0),
    "CLIPSegVisionModel": (1, 0),
    "CLIPVisionModel": (1, 0),
    "ChineseCLIPVisionModel": (1, 0),
    "DINOv3ViTModel": (5, 0),
    "DPTModel": (1, 0),
    "Data2VecVisionModel": (1, 0),
    "DeiTModel": (2, 0),
    "Dinov2Model": (1, 0),
    "Dinov2WithRegistersModel": (5, 0),
    "DonutSwinModel": (0, 0),
    "FlavaImageModel": (1, 0),
    "FocalNetModel": (0, 0),
    "GitVisionModel": (1, 0),
    "HieraModel": (0, 0),
    "IJepaModel": (0, 0),
    "InstructBlipVisionModel": (1, 0),
    "InternVLVisionModel": (1, 0),
    "JanusVisionModel": (0, 0),
    "LevitModel": (0, 0),
    "Llama4VisionModel": (0, 1),
    "MLCDVisionModel": (1, 0),
    "MetaClip2VisionModel": (1, 0),
    "MgpstrModel": (1, 0),
    "OwlViTVisionModel": (1, 0),
    "Owlv2VisionModel": (1, 0),
    "PixioModel": (8, 0),
    "RadioModel": (10, 0),
    "Sapiens2Model": (9, 0),
    "SiglipVisionModel": (0, 0),
    "Swin2SRModel": (0, 0),
    "SwinModel": (0, 0),
    "Swinv2Model": (0, 0),
    "Tipsv2VisionModel": (2, 0),
    "ViTMAEModel": (1, 0),
    "ViTMSNModel": (1, 0),
    "ViTModel": (1, 0),
    "VitPoseBackbone": (0, 0),
    "YolosModel": (1, 100),
}

# The class applies its final norm to all tokens, only to the class token (here it is applied to all), or has none.
NORM_OF_CLASS_TOKEN = ("AltCLIPVisionModel", "CLIPSegVisionModel", "CLIPVisionModel", "ChineseCLIPVisionModel")
NORM_OF_CLASS_TOKEN += ("MLCDVisionModel", "MetaClip2VisionModel", "OwlViTVisionModel", "Owlv2VisionModel")
WITHOUT_NORM = ("BeitModel", "Data2VecVisionModel", "DonutSwinModel", "HieraModel", "InternVLVisionModel", "LevitModel")
WITHOUT_NORM += ("Llama4VisionModel", "MgpstrModel", "RadioModel", "Swin2SRModel", "VitPoseBackbone")
WITHOUT_POOLER = ("Data2VecVisionModel", "GitVisionModel", "IJepaModel", "InternVLVisionModel", "Llama4VisionModel")
WITHOUT_POOLER += ("MgpstrModel", "RadioModel", "Swin2SRModel", "ViTMAEModel", "ViTMSNModel", "VitPoseBackbone")
NORMED = [name for name in PATCHES if name not in WITHOUT_NORM]
POOLED = [name for name in PATCHES if name not in WITHOUT_POOLER]

# Networks for videos: the class, the number of frames in its published settings, and the order of its tokens.
VIDEOS = {
    "VideoMAEModel": (16, "by frame"),
    "VivitModel": (32, "by frame"),
    "TimesformerModel": (8, "by patch"),
    "VJEPA2Model": (2, "by frame"),
}
# Networks that process the patches of all images as one sequence.
PACKED = {
    "Qwen2VisionTransformerPretrainedModel": "Qwen2-VL: squares of 2 x 2 patches",
    "Qwen2_5_VisionTransformerPretrainedModel": "Qwen2.5-VL: windows of squares of 2 x 2 patches",
    "Qwen3VLVisionModel": "Qwen3-VL: squares of 2 x 2 patches",
    "PixtralVisionModel": "Pixtral, Mistral 3: rows of patches",
    "Siglip2VisionModel": "SigLIP 2 NaFlex: rows of patches, padded",
}

MAPS = "maps, averaged over positions"
PROMPTED = "refused: needs other inputs than pixels"
DETECTOR = "refused: returns no hidden states of its layers"
NO_PATCHES = "`mean` only, because patches cannot be distinguished from other tokens"
UNTRIED = "not tried"
UNKNOWN_VIDEO = "refused: expects videos in another format"
# The other classes that transformers registers as image models.
OTHERS = {
    "BitModel": MAPS,
    "Cohere2VisionModel": UNTRIED,
    "ConditionalDetrModel": DETECTOR,
    "ConvNextModel": MAPS,
    "ConvNextV2Model": MAPS,
    "DINOv3ConvNextModel": MAPS,
    "DabDetrModel": DETECTOR,
    "DeformableDetrModel": DETECTOR,
    "DepthProModel": UNTRIED,
    "DetrModel": DETECTOR,
    "DinatModel": MAPS,
    "EfficientNetModel": MAPS,
    "GLPNModel": MAPS,
    "ImageGPTModel": PROMPTED,
    "MllamaVisionModel": PROMPTED,
    "MobileNetV1Model": MAPS,
    "MobileNetV2Model": MAPS,
    "MobileViTModel": MAPS,
    "MobileViTV2Model": MAPS,
    "PoolFormerModel": MAPS,
    "PvtModel": NO_PATCHES,
    "RegNetModel": MAPS,
    "ResNetModel": MAPS,
    "SegformerModel": MAPS,
    "SwiftFormerModel": MAPS,
    "TableTransformerModel": DETECTOR,
    "TimmBackbone": UNTRIED,
    "TimmWrapperModel": "tokens or maps, by architecture",
    "VideoPrismVisionModel": UNKNOWN_VIDEO,
    "VitDetModel": MAPS,
}
